"""What people have instead of a pickle: files as the programs themselves write them, each told by its name."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from safetensors.numpy import save_file

from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.data.unpickling import load
from dmmsa_cli.errors import DamagedPickle, InvalidInput, UnsafePickle
from dmmsa_cli.stages.prepare import prepare

ARRAY = np.ones((2, 3), np.float32)
PICKLE = pickle.dumps({"train": {"audio": np.ones((90, 9), np.float32)}}, 4)
QUOTA = {"error": {"code": 403, "message": "The download quota for this file has been exceeded."}}


def written(write):
    """The bytes of what a program writes into a file."""

    def make(path):
        write(path)
        return path.read_bytes()

    return make


def archived(kind):
    def make(path):
        with tarfile.open(path, f"w{kind}") as archive:
            entry = tarfile.TarInfo("unaligned_50.pkl")
            entry.size = len(PICKLE)
            archive.addfile(entry, io.BytesIO(PICKLE))
        return path.read_bytes()

    return make


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("unaligned_50.pkl", PICKLE)
    return path.read_bytes()


def streamed(path):
    table = pa.table({"a": [1, 2]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return path.read_bytes()


TABLE = pa.table({"a": [1, 2]})
KINDS = {
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "Git LFS.* of 12,345 bytes",
        "git lfs pull",
    ),
    "page": (b"\xef\xbb\xbf\n <!DOCTYPE html><html><title>Sign in</title>", "a web page", "by hand"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an answer in XML", "by hand"),
    "drive": (json.dumps(QUOTA, indent=1).encode(), "it says 'The download quota", "by hand"),
    "json": (b'[{"id": "a"}]', "is JSON", "pickle what it holds"),
    "zeros": (bytes(5000), "holds nothing but zeros", "It has 5,000 bytes. Compare"),
    "many zeros": (bytes(2**18) + PICKLE, "begins with zeros", "Compare"),
    "empty": (b"", "0 bytes", "Fetch or copy it again"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0\0", "HDF5", "h5py"),
    "torch": (written(lambda path: torch.save({"a": torch.ones(2)}, path)), "torch.save", "not tensors"),
    "old torch": (
        written(lambda path: torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)),
        "torch.save",
        "not tensors",
    ),
    "npy": (written(lambda path: np.save(path.open("wb"), ARRAY)), "one numpy array", "dict of splits"),
    "npz": (written(lambda path: np.savez(path.open("wb"), a=ARRAY)), r"several numpy arrays \(.npz\)", "numpy.load"),
    "zip": (zipped, "ZIP archive; first in it is unaligned_50.pkl", "Unpack"),
    "empty zip": (written(lambda path: zipfile.ZipFile(path, "w").close()), "ZIP archive", "Unpack"),
    "tar": (archived(""), "tar archive", "tar -xf"),
    "tar.gz": (archived(":gz"), "gzip", "tar -xzf"),
    "gzip": (gzip.compress(PICKLE), "gzip", "gunzip"),
    "xz": (lzma.compress(PICKLE), "xz", "unxz"),
    "bzip2": (bz2.compress(PICKLE), "bzip2", "bunzip2"),
    "zlib": (zlib.compress(PICKLE), "zlib", "joblib.load"),
    "zstandard": (pa.compress(PICKLE, "zstd", asbytes=True), "Zstandard", "unzstd"),
    "7z": (b"7z\xbc\xaf'\x1c\0\4" + bytes(50), "7z archive", "7z x"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(50), "RAR archive", "unrar x"),
    "commas": (b"id,text,label\na,hello,1\n", "CSV, with commas.* id, text, label", "evaluate (--predictions"),
    "semicolons": ("\ufeffid;text\na;hällo\n".encode(), "CSV, with semicolons", "predict (--csv"),
    "tabs": (b"id\ttext\na\thello\n", "CSV, with tabs", "evaluate (--predictions"),
    "words": ("Guten Tag, schöne Daten\n".encode(), "is text, and no pickle: it begins with 'Guten Tag", "pickle"),
    "parquet": (written(lambda path: pyarrow.parquet.write_table(TABLE, path)), "Parquet", "pickle"),
    "feather": (written(lambda path: pyarrow.feather.write_feather(TABLE, path)), "Arrow", "pickle"),
    "arrow": (streamed, "stream of Arrow tables", "pickle"),
    "safetensors": (written(lambda path: save_file({"a": ARRAY}, path)), "safetensors", "pickle"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(90), r"MATLAB \(.mat\)", "loadmat"),
    "wave": (b"RIFF\0\0\0\0WAVEfmt ", "a recording", "features first"),
    "truncated": (PICKLE[:900], "is truncated: it ends before", "It has 900 bytes. Compare"),
}


@pytest.mark.parametrize(("content", "what", "remedy"), KINDS.values(), ids=KINDS)
def test_each_kind_has_its_sentence_and_its_remedy(tmp_path, content, what, remedy):
    path = tmp_path / "x.pkl"
    path.write_bytes(content(path) if callable(content) else content)
    with pytest.raises(DamagedPickle, match=what) as error:
        load(path)
    assert remedy in error.value.remedy


def test_a_pickle_of_text_is_no_table(tmp_path):
    """Protocol 0 is text; what it asks for is still told, and what it holds is read."""
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a,b": ["c,d", "e,f"]}, 0))
    assert load(tmp_path / "x.pkl") == {"a,b": ["c,d", "e,f"]}
    (tmp_path / "x.pkl").write_bytes(b"cos\nsystem\n(S'a,b'\ntR.")
    with pytest.raises(UnsafePickle, match="asks for os.system"):
        load(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a,b": ["c,d", "e,f"]}, 0)[:-9])
    with pytest.raises(DamagedPickle, match="truncated"):
        load(tmp_path / "x.pkl")


def test_objects_of_libraries_are_refused_with_the_way_to_arrays(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(torch.ones(2)))
    with pytest.raises(UnsafePickle, match="nothing of it was run") as error:
        load(tmp_path / "x.pkl")
    assert "tensor.numpy()" in error.value.remedy
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02ctorch.hub\nload\n.")
    with pytest.raises(UnsafePickle, match="can run code"):
        load(tmp_path / "x.pkl")


def test_a_folder_names_the_pickles_in_it(tmp_path):
    for name in ("a.pkl", "b.pickle", "c.txt"):
        (tmp_path / name).touch()
    for read in (load, lambda path: prepare("mosi", source=str(path), data_dir=tmp_path / "data")):
        with pytest.raises(InvalidInput, match=r"is a folder; in it lie a\.pkl, b\.pickle\."):
            read(tmp_path)


@pytest.mark.parametrize("content", [PICKLE[:900], bytes(900)], ids=["truncated", "zeros"])
def test_the_published_size_stands_beside_the_found_one(tmp_path, content):
    """Of CH-SIMS it is known."""
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DamagedPickle) as error:
        prepare("sims", source=str(tmp_path / "x.pkl"), data_dir=tmp_path)
    assert "It has 900 bytes. " in error.value.remedy
    assert error.value.remedy.endswith(" The published file has 1,228,189,774 bytes.")
    with pytest.raises(DamagedPickle) as error:
        prepare("mosi", source=str(tmp_path / "x.pkl"), data_dir=tmp_path)
    assert "published" not in error.value.remedy


def test_published_sizes_are_of_published_files():
    from dmmsa_cli.data.sources import PUBLISHED_BYTES

    assert PUBLISHED_BYTES.keys() <= {spec.source.sha256 for spec in SPECS.values() if spec.source}
