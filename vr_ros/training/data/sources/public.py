"""Public sets that training data is made from, each declared over a reader of evaluation's.

Nothing is fetched: a set lies in a folder as its authors give it away.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from vr_ros.datasets.coco import Coco
from vr_ros.datasets.columns import Columns
from vr_ros.datasets.json_rows import JsonRows
from vr_ros.datasets.known import KNOWN
from vr_ros.datasets.lisa_plus import LisaPlus
from vr_ros.datasets.parquet import open_table
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.reasonseg import ReasonSeg
from vr_ros.datasets.refer import Refer
from vr_ros.datasets.registry import pick_file
from vr_ros.datasets.sample import DataSet
from vr_ros.datasets.solved import Solved
from vr_ros.datasets.splits import find_tables
from vr_ros.training.data.source import Scoring
from vr_ros.training.data.sources.declared import Declared, PublicBuilder
from vr_ros.training.data.sources.nested import (
    open_chartx,
    open_estvqa,
    open_scivqa,
    open_tablevqa,
)
from vr_ros.training.data.storage import Storage

# V-Triune, section 5.1.1: what it keeps of detection, and of questions.
DETECTION_FILTERS = ('most_objects=10', 'largest_share=0.5')
ANSWER_FILTERS = ('no_choices', 'plain_answer')
OCR_FILTERS = ('english', 'plain_answer', 'verifiable')
# V-Triune's truth is in 0..1000 of the image, whatever the model's input is.
RELATIVE_BOXES = Scoring('detection', {'det_verifier_normalized': True})
# V-Triune's images keep their aspect ratio, 512 x 512 to 2048 x 2048 pixels.
NATURAL = Storage(None, min_pixels=512 ** 2, max_pixels=2048 ** 2)
_COCO_PICTURES = "COCO's pictures by the terms of Flickr"


def _coco(file: str, folder: str, absent: int, path: Path, part: str) -> DataSet:
    """Open a file by its part: {} in the names stands for it."""
    inner, _, name = file.format(part).rpartition('/')
    return Coco(pick_file(path / inner if path.is_dir() else path, '.json', name),
                folder.format(part), absent)


def _refer(first_only: bool, joined: bool, path: Path, part: str) -> DataSet:
    return Refer(path, part, first_only, joined)


def _lisa_plus(path: Path, part: str) -> DataSet:
    if path.is_dir():
        named = [path / name for name in ('data.json', 'LISA_Plus_Instance_Seg.json')]
        path = next((file for file in named if file.exists()), named[0])
    return LisaPlus(path)


def _table(known: str, path: Path, part: str) -> DataSet:
    files = [path] if path.is_file() else find_tables(path, part)
    folder = path if path.is_dir() else path.parent
    return Columns(open_table(files, known), KNOWN[known], Pictures(folder, KNOWN[known].folder))


def _json(known: str, path: Path, part: str) -> DataSet:
    if path.is_dir():
        path = pick_file(path, '.jsonl', part)
    return Columns(JsonRows(path), KNOWN[known], Pictures(path.parent, KNOWN[known].folder))


def _solved(path: Path, part: str) -> DataSet:
    files = [path] if path.is_file() else find_tables(path, part)
    return Solved(open_table(files, path.resolve().name))


def _referring(title: str, file: str, page: str, licence: str, *, first_only: bool = True,
               joined: bool = False) -> Declared:
    return Declared(
        title, f'{file} and instances.json, and train2014/ of COCO beside them', page, licence,
        partial(_refer, first_only, joined))


def _questions(
    title: str, known: str, page: str, licence: str, ability: str, *, part: str = 'train',
    filters: tuple[str, ...] = ANSWER_FILTERS, phrase: str = '{}', scoring: Scoring = Scoring(),  # noqa: B008
    files: str = '', open_: Callable[[str, Path, str], DataSet] = _table,
) -> Declared:
    files = files or f'the Parquet or Arrow files of {KNOWN[known].hub_id}'
    return Declared(title, files, page, licence, partial(open_, known), part, ability, scoring,
                    filters, phrase, storage=NATURAL)


_PICKLED = 'refs({}).json, written from the pickle as the message says'
_REFER = 'https://github.com/lichengunc/refer'
_LISA = 'https://github.com/dvlab-research/LISA'
_PUZZLES = 'https://github.com/declare-lab/LLM-PuzzleTest'
SETS: dict[str, Declared] = {
    # Objects: VisionReasoner's sources.
    'refcocog': _referring('RefCOCOg', _PICKLED.format('umd'), _REFER,
                           f'not stated; {_COCO_PICTURES}', joined=True),
    'refcoco': _referring('RefCOCO', _PICKLED.format('unc'), _REFER,
                          f'not stated; {_COCO_PICTURES}'),
    'refcocoplus': _referring('RefCOCO+', _PICKLED.format('unc'), _REFER,
                              f'not stated; {_COCO_PICTURES}'),
    'grefcoco': _referring('gRefCOCO', 'grefs(unc).json',
                           'https://github.com/henghuiding/gRefCOCO',
                           f'see its page; {_COCO_PICTURES}', first_only=False),
    'lvis': Declared(
        'LVIS v1', 'annotations/lvis_v1_train.json, and train2017/ and val2017/ of COCO',
        'https://www.lvisdataset.org', f'CC BY 4.0; {_COCO_PICTURES}',
        partial(_coco, 'lvis_v1_{}', '', 0)),
    'lisa_plus': Declared(
        'LISA++ instance segmentation',
        'data.json of Senqiao/LISA_Plus_Instance_Seg, and of COCO 2017'
        ' annotations/instances_train2017.json and train2017/',
        _LISA, f'Apache-2.0; {_COCO_PICTURES}', _lisa_plus, ''),
    'reasonseg': Declared(
        'ReasonSeg', 'train/ with JPG files and a JSON file beside each', _LISA,
        'Apache-2.0; pictures by OpenImages and ScanNet',
        partial(ReasonSeg, all_texts=True), filters=('one_part',), region_is_object=True),
    'visionreasoner_rows': Declared(
        "VisionReasoner's own rows",
        'the files of Ricky06662/VisionReasoner_multi_object_7k_840, which are of 840 x 840',
        'https://github.com/JIA-Lab-research/VisionReasoner',
        'see the sets that they are made of', _solved, storage=Storage()),
    # Objects: categories.
    'coco': Declared(
        'COCO 2017', 'annotations/instances_train2017.json and train2017/',
        'https://cocodataset.org', f'CC BY 4.0; {_COCO_PICTURES}',
        partial(_coco, 'instances_{}2017', '{}2017', 1)),
    'v3det': Declared(
        'V3Det', 'v3det_2023_v1_train.json, and images/ beside it',
        'https://github.com/V3Det/V3Det', 'CC BY 4.0; pictures by their own',
        partial(_coco, 'v3det_2023_v1_{}', '', 0), scoring=RELATIVE_BOXES,
        filters=DETECTION_FILTERS, storage=NATURAL),
    'objects365': Declared(
        'Objects365', 'zhiyuan_objv2_train.json, and images/ beside it', 'https://www.objects365.org',
        'CC BY 4.0; pictures by the terms of Flickr', partial(_coco, 'zhiyuan_objv2_{}', '', 0),
        scoring=RELATIVE_BOXES, filters=DETECTION_FILTERS, storage=NATURAL),
    'd3': Declared(
        'D3', 'd3_json/d3_full_annotations.json, and d3_images/',
        'https://github.com/shikras/d-cube', 'CC BY-NC 4.0',
        partial(_coco, 'd3_json/d3_{}_annotations', 'd3_images', 0), 'full', 'grounding',
        RELATIVE_BOXES, ('largest_share=0.5',), storage=NATURAL),
    # Counting.
    'pixmo_count': _questions(
        'PixMo-Count', 'pixmo-count', 'https://molmo.allenai.org', 'ODC-BY; pictures by their own',
        'counting', filters=('points_counted',),
        phrase='How many {} are there in the image?',
        files='the Parquet files of allenai/pixmo-count, and images/ beside them, each named by'
              ' its image_sha256'),
    'clevr_count': _questions(
        'CLEVR, counting', 'clevr_cogen_a_train', 'https://github.com/Deep-Agent/R1-V',
        'CC BY 4.0', 'counting', filters=('english',)),
    # Questions.
    'geometry3k': _questions('Geometry3K', 'geometry3k', 'https://lupantech.github.io/inter-gps',
                             'MIT', 'math'),
    'mmk12': _questions('MMK12 of MM-Eureka', 'MMK12', 'https://github.com/ModalMinds/MM-EUREKA',
                        'Apache-2.0', 'math'),
    'mm_math': _questions(
        'MM-Math', 'MM_Math', 'https://github.com/kge-sun/mm-math', 'see its page', 'math',
        part='', files='MM_Math.jsonl of THU-KEG/MM_Math, and its pictures in images/',
        open_=_json),
    'puzzlevqa': _questions('PuzzleVQA', 'PuzzleVQA', _PUZZLES, 'see its page', 'puzzle'),
    'algopuzzlevqa': _questions('AlgoPuzzleVQA', 'AlgoPuzzleVQA', _PUZZLES, 'Apache-2.0',
                                'puzzle', part=''),
    'visualpuzzles': _questions(
        'VisualPuzzles', 'VisualPuzzles', 'https://neulab.github.io/VisualPuzzles', 'see its page',
        'puzzle', part='', filters=()),
    'scienceqa': _questions('ScienceQA', 'ScienceQA', 'https://scienceqa.github.io',
                            'CC BY-NC-SA 4.0', 'science', filters=()),
    'virl39k_science': _questions(
        'ViRL39K, science', 'ViRL39K', 'https://github.com/TIGER-AI-Lab/VL-Rethinker', 'MIT',
        'science', part='',
        filters=('kinds=Broader STEM Topics|(GradeSchool) Science', *ANSWER_FILTERS)),
    'virl39k_chart': _questions(
        'ViRL39K, charts', 'ViRL39K', 'https://github.com/TIGER-AI-Lab/VL-Rethinker', 'MIT',
        'chart', part='', filters=('kinds=Tables/Diagrams/Charts', *ANSWER_FILTERS)),
    'chartqapro': _questions('ChartQAPro', 'ChartQAPro', 'https://github.com/vis-nlp/ChartQAPro',
                             'MIT', 'chart', part='test'),
    'chartqa': _questions('ChartQA', 'ChartQA', 'https://github.com/vis-nlp/ChartQA', 'GPL-3.0',
                          'chart'),
    'textvqa': _questions('TextVQA', 'TextVQA', 'https://textvqa.org', 'CC BY 4.0', 'ocr',
                          filters=OCR_FILTERS),
    'llava_ocr': _questions(
        'LLaVA-OneVision-Data', 'LLaVA-OneVision-Data',
        'https://github.com/LLaVA-VL/LLaVA-NeXT', 'Apache-2.0; see the sets that it is made of',
        'ocr', part='', filters=OCR_FILTERS,
        files='the Parquet files of one of its sets of text in pictures, such as textocr(gpt4v)'),
    'scivqa': Declared(
        'SciVQA', 'train_….json of katebor/SciVQA, and images_train/ out of its archive',
        'https://github.com/esborisova/SciVQA', 'see its page; pictures by their papers',
        open_scivqa, ability='science', filters=ANSWER_FILTERS, storage=NATURAL),
    'chartx': Declared(
        'ChartX', 'ChartX_annotation_val.json of U4R/ChartX, and ChartX_png/ out of its archive',
        'https://github.com/UniModal4Reasoning/ChartVLM', 'CC BY 4.0', open_chartx, 'val', 'chart',
        filters=ANSWER_FILTERS, storage=NATURAL),
    'tablevqa': Declared(
        'TableVQA-Bench', 'the four Parquet files of terryoo/TableVQA-Bench',
        'https://github.com/naver-ai/tablevqabench', 'CC BY 4.0; its programs MIT', open_tablevqa,
        '*', 'chart', filters=ANSWER_FILTERS, storage=NATURAL),
    'estvqa': Declared(
        'EST-VQA', 'annotations/train.json and images/train/ of EST-VQA-v1.0',
        'https://github.com/xinke-wang/EST-VQA', 'not stated', open_estvqa, ability='ocr',
        filters=OCR_FILTERS, storage=NATURAL),
}
BUILDERS = {name: PublicBuilder(name, declared) for name, declared in SETS.items()}
