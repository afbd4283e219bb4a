#!/usr/bin/env python3
"""Distance of the aggregate posterior from the prior N(0, I), in first and second moments.

    hvae reconstruct checkpoints/th-vae-001 --count 10000 --out reconstructions.npz
    python3 scripts/latent_moments.py reconstructions.npz

Prints the extreme eigenvalues of the covariance of the aggregate posterior, the mixture of all
q(z|x), KL(N(mean, covariance) || N(0, I)) in nats, and the mean KL(q(z|x) || N(0, I)). Needs numpy.
"""

import sys

import numpy as np

with np.load(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)) as file:
    means, log_variances = (file[k].astype(np.float64) for k in ("means", "log_variances"))
mean = means.mean(0)
covariance = np.cov(means.T, bias=True) + np.diag(np.exp(log_variances).mean(0))
eigenvalues = np.linalg.eigvalsh(covariance)
of_moments = 0.5 * (eigenvalues.sum() - len(mean) - np.log(eigenvalues).sum() + mean @ mean)
of_images = 0.5 * (means**2 + np.exp(log_variances) - log_variances - 1).sum(1).mean()
print(f"{len(means)} images, {len(mean)} latents")
print(f"eigenvalues of the covariance: {eigenvalues[0]:.2f} to {eigenvalues[-1]:.2f}")
print(f"KL of the moments: {of_moments:.2f} nats; mean KL of the posteriors: {of_images:.2f}")
