"""Score the trivial predictors (majority class, mean depth, mean normal, ...) on the test data of a config."""

from __future__ import annotations

import argparse

from mmengine.registry import init_default_scope

from mmmtl import __version__
from mmmtl.cli.arguments import add_config_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive
from mmmtl.config import dataset_configs, resolve
from mmmtl.evaluation import constant_predictor, metrics_table, write_metrics
from mmmtl.registry import DATASETS
from mmmtl.tasks import build_tasks


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        '--samples', type=positive, default=200, help='training samples to fit the constants on (default: 200)'
    )
    parser.add_argument('--out', metavar='metrics.json', help='write the metrics there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    check_cli_outputs(cfg, [args.out])
    cfg = resolve(cfg)
    if missing := [key for key in ('train_dataloader', 'test_dataloader') if cfg.get(key) is None]:
        raise SystemExit(f'{args.config}: no {" and no ".join(missing)}; the constants need labels to fit and to score')
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        for dataset in dataset_configs(loader.dataset):
            # A constant ignores earlier frames; every labelled frame is scored once.
            if dataset.get('clip') is not None:
                dataset.clip.single = True
    init_default_scope(cfg.get('default_scope', 'mmmtl'))
    train, test = (DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.test_dataloader))
    metrics = constant_predictor(train, test, max_samples=args.samples)
    print('\n' + metrics_table(metrics, build_tasks(cfg.tasks, 'the config')))
    if args.out:
        write_metrics(args.out, metrics, dict(config=args.config, predictor='constant', mmmtl=__version__))
        print(f'metrics: {args.out}')


if __name__ == '__main__':
    with readable_errors():
        main()
