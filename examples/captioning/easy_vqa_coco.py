"""The pictures of the package easy-vqa as COCO has them: files, and a JSON of captions.

easy-vqa (Victor Zhou, MIT licence) holds computer-made pictures of one shape each, with questions and answers. Where
the answers tell both shape and colour, the caption is "a COLOUR SHAPE"; other pictures are left out.

usage: easy_vqa_coco.py FOLDER [PICTURES]     writes FOLDER/{train,test}/NUMBER.png and FOLDER/{train,test}.json
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from shutil import copyfile

try:
    import easy_vqa
except ImportError:
    sys.exit("the package easy-vqa is missing: pip install easy-vqa==1.0")

SHAPES = {"circle", "rectangle", "triangle"}
COLOURS = {"black", "blue", "brown", "gray", "green", "red", "teal", "yellow"}


def captions(questions: list) -> dict[int, str]:
    """The captions of those pictures of which the answers tell enough."""
    known = defaultdict(set)
    for question, answer, picture in questions:
        words = question.strip("?").split()
        # "what is the red shape?" "circle"; "is there not a blue shape?" "no"; "is no circle present?" "no"
        if answer not in ("yes", "no") or (answer == "yes") == {"not", "no"}.isdisjoint(words):
            known[picture] |= {answer, *words} & (SHAPES | COLOURS)
    told = {picture: (words & COLOURS, words & SHAPES) for picture, words in known.items()}
    return {i: f"a {colour.pop()} {shape.pop()}" for i, (colour, shape) in sorted(told.items()) if colour and shape}


def write(target: Path, part: str, limit: int | None) -> int:
    """Writes the pictures and captions of a part ("train" or "test"); at most `limit`. Returns their number."""
    source = Path(easy_vqa.__file__).parent / "data" / part
    chosen = list(captions(json.loads((source / "questions.json").read_text())).items())[:limit]
    (target / part).mkdir(parents=True, exist_ok=True)
    for picture, _ in chosen:
        copyfile(source / "images" / f"{picture}.png", target / part / f"{picture}.png")
    images = [{"id": i, "file_name": f"{i}.png", "height": 64, "width": 64, "coco_url": ""} for i, _ in chosen]
    annotations = [{"id": i, "image_id": i, "caption": caption} for i, caption in chosen]
    (target / f"{part}.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return len(chosen)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.split("\n\n")[2])
    limit = int(sys.argv[2]) if len(sys.argv) == 3 else None
    for part in ("train", "test"):
        print(f"{write(Path(sys.argv[1]), part, limit)} captioned pictures in {sys.argv[1]}/{part}")


if __name__ == "__main__":
    main()
