"""Small real files for crates/trainer/tests/it/damaged.rs: arrays as numpy saves them, and IDX."""
import gzip, sys
from pathlib import Path
import numpy as np

out = Path(sys.argv[1])
grey = (np.arange(12 * 5 * 4) * 7 % 256).astype(np.uint8).reshape(12, 5, 4)
colour = np.stack([grey, grey[::-1], 255 - grey], axis=-1)
labels = np.arange(12) % 3
np.savez(out / "parts.npz", x_train=grey, y_train=labels, x_test=grey[:2], y_test=labels[:2])
np.savez(out / "named.npz", images=grey, labels=np.array(["cat", "dog", "ape"])[labels])
np.savez(out / "objects.npz", images=grey, labels=np.array([1, "x", None] * 4, dtype=object))
np.savez_compressed(out / "packed.npz", images=colour, labels=np.eye(3, dtype=np.float32)[labels])
np.save(out / "bytes.npy", grey)
np.save(out / "fortran.npy", np.asfortranarray(colour))
np.save(out / "floats.npy", (grey / 255).astype("<f4"))
np.save(out / "big.npy", (grey / 255).astype(">f8"))
np.save(out / "half.npy", (grey / 255).astype("<f2").reshape(12, 20)[:, :16])
mean = np.linspace(0, 1, 4)
np.savez(out / "statistics.npz", mu=mean, sigma=np.diag(mean + 1))
head = bytes([0, 0, 8, 3, 0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0, 4])
(out / "train-images-idx3-ubyte").write_bytes(head + grey.tobytes())
with open(out / "emnist-x-train-images-idx3-ubyte.gz", "wb") as file:
    file.write(gzip.compress(head + grey.tobytes(), mtime=0))
