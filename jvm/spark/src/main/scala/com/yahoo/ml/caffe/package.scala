package com.yahoo.ml

package object caffe
