"""Install the ROS-free parts of vr_ros with pip, for training machines and model servers.

``pip install .`` brings the core, the models and the pipeline, so that
``Perceiver(card).perceive(image, 'count the cups')`` works without ROS. ``pip install .[train]``,
``.[eval]`` and ``.[sim]`` add what training, evaluation and the simulator need, ``.[math]`` what
compares mathematical answers, ``.[ray]`` what evaluates on several machines.

This file does not build the ROS package. colcon takes the build type (ament_cmake) from package.xml
and ignores this file; the interfaces vr_ros.msg, .srv and .action and the executables come from
CMakeLists.txt. vr_ros.nodes is left out here because it needs rclpy and those interfaces.
"""
from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
CORE = ['numpy>=1.26', 'scipy>=1.11', 'opencv-python-headless>=4.8', 'PyYAML>=6']
MODELS = ['torch>=2.6', 'transformers>=5.10,<6', 'tokenizers', 'safetensors', 'pillow']
SIMULATOR = ['mujoco>=3.2']

setup(
    name='vr_ros',
    version=ElementTree.parse(HERE / 'package.xml').getroot().findtext('version'),
    description='Tell a robot in plain words what to look for: reasoning perception',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['vr_ros*'], exclude=['vr_ros.nodes*']),
    package_data={'vr_ros': [
        'py.typed', 'evaluation/templates/*.j2', 'training/rewards/curricula/*.json',
        'training/router_data/*.txt']},
    install_requires=[*CORE, *MODELS],
    extras_require={
        'sim': SIMULATOR,
        'eval': [*SIMULATOR, 'rosbags>=0.10', 'mcap>=1.2', 'rich>=13', 'Jinja2>=3.1',
                 'motmetrics>=1.4', 'pyarrow>=15', 'imgviz>=1.7'],
        'ray': ['ray[data]>=2.40'],
        'math': ['math-verify[antlr4_13_2]>=0.7'],
        'train': [*SIMULATOR, 'rosbags>=0.10', 'mcap>=1.2', 'rich>=13', 'scikit-learn>=1.4',
                  'pyarrow>=15', 'trl==1.16.0', 'peft>=0.20', 'accelerate>=1.10',
                  'datasets>=4.7', 'tensorboard>=2.18'],
    },
)
