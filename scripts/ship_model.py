"""Put a trained model into the package: last VAE decoder, measured figures, how it was made, int8 weights.

    python scripts/ship_model.py --model runs/tiny/temporal/model --vae runs/tiny/vae_decoder/vae \
        --about configs/about/tiny.yaml --quality docs/results/tiny/quality.json
    python scripts/ship_model.py --add-control runs/tiny/pose/model
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import yaml
from diffusers import AutoencoderKL

from magicanimate.models.model import add_control, load_model, save_model

ASSETS = Path(__file__).resolve().parent.parent / "src" / "magicanimate" / "assets" / "tiny"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model folder of the last stage")
    parser.add_argument("--add-control", type=Path, help="instead: a model whose ControlNet of another kind is added")
    parser.add_argument("--vae", type=Path, help="VAE whose decoder was trained further (diffusers format)")
    parser.add_argument("--about", type=Path, help="fields of model.json, in YAML")
    parser.add_argument("--quality", type=Path, help="quality.json of benchmarks/quality.py")
    parser.add_argument("--storage", default="int8", choices=["int8", "float16", "float32"])
    parser.add_argument("--out", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    if arguments.add_control:
        print(add_control(arguments.out, load_model(arguments.add_control)))
        return
    if not (arguments.model and arguments.about):
        parser.error("--model and --about are needed, or --add-control")
    model = load_model(arguments.model)
    if arguments.vae:
        model = replace(model, vae=AutoencoderKL.from_pretrained(arguments.vae))
    changes = yaml.safe_load(arguments.about.read_text())
    if arguments.quality:
        changes["figures"] = json.loads(arguments.quality.read_text())
    model = replace(model, config=model.config.model_validate(model.config.model_dump() | changes))
    save_model(model, arguments.out, storage=arguments.storage)
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
