# SPDX-License-Identifier: Apache-2.0
"""Packaging of lipjax; the folder configs/ is carried in the wheel as lipjax.configs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

CORE = [
    "jax>=0.10",
    "flax>=0.12",
    "optax>=0.2.6",
    "orbax-checkpoint>=0.12,<1.0",
    "jaxtyping>=0.3",
    "grain>=0.2.15",
    "tensorflow-datasets>=4.9.10",
    "librosa>=0.11",
    "soxr>=0.5",
    "numpy>=2.0",
    "Pillow>=11",
    "tensorboard>=2.19",
    "ml-collections>=1.0",
    "absl-py>=2.1",
    "etils[epath]>=1.12",
]
EXTRAS = {
    "media": [
        "av>=17.1",  # before, MPEG files crash it; before 17, full range is read as limited
        "opencv-python-headless>=4.10.0.84",
        "matplotlib>=3.9",
    ],
    "landmarks": ["dlib-bin>=20.0", "face_recognition_models>=0.3"],
    "babble": ["espeakng-loader>=0.2.4"],
    "page": ["gradio>=6.30"],  # 6.29.0 and older never tell that a session has ended
    "cuda": ["jax[cuda13]>=0.10"],
    "tpu": ["jax[tpu]>=0.10"],
    "docs": ["mkdocs>=1.6,<2"],
}
EXTRAS["test"] = [
    *EXTRAS["media"],
    *EXTRAS["landmarks"],
    *EXTRAS["babble"],
    *EXTRAS["page"],
    *EXTRAS["docs"],
    "pytest>=8",
    "pytest-timeout>=2.3",
    "nbclient>=0.10",
    "nbformat>=5.10",
    "ipykernel>=6.29",
    "pytest-xdist>=3.6",
    "beartype>=0.20",
    "scikit-image>=0.25",
    "cpbd>=1.0.7",
    "selenium>=4.20",
    "ruff>=0.8",
    "mypy>=2.4",
    "uv>=0.5",
]

URL = "https://github.com/lipjax/lipjax"
README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
# A package index has no files beside the page.
README = re.sub(r"(!\[[^]]*\])\((?!https?:)", rf"\1({URL}/raw/main/", README)
README = re.sub(r"\]\((?!https?:|#)", f"]({URL}/blob/main/", README)

setup(
    name="lipjax",
    version="0.1.0",
    description="Lip movements from speech and one picture, in JAX and Flax",
    long_description=README,
    long_description_content_type="text/markdown",
    url=URL,
    project_urls={
        "Changelog": f"{URL}/blob/main/CHANGELOG.md",
        "Documentation": f"{URL}/tree/main/docs",
        "Issues": f"{URL}/issues",
    },
    keywords="talking face, lip movements, speech, jax, flax",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["lipjax", "lipjax.*"]), "lipjax.configs"],
    package_dir={"lipjax.configs": "configs"},
    package_data={"lipjax": ["py.typed", "*.pyi", "pretrained_models/*/*"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["lipjax=lipjax.cli:program"]},
)
