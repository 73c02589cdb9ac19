/** ml-matrix: factors, systems and eigenvalues in plain JavaScript, in float64. */
import { CholeskyDecomposition, EigenvalueDecomposition, Matrix } from 'ml-matrix';

export function open() {
  return { threads: 1, prepare };
}

function prepare({ op, a, b, n }) {
  const matrix = (data) => Matrix.from1DArray(n, data.length / n, data);
  const given = matrix(a);
  const right = b && matrix(b);
  const run = {
    cholesky: () => new CholeskyDecomposition(given).lowerTriangularMatrix.to1DArray(),
    solve: () => new CholeskyDecomposition(given).solve(right).to1DArray(),
    eigh: () => new EigenvalueDecomposition(given, { assumeSymmetric: true }).realEigenvalues,
  }[op];
  let out;
  return {
    run() {
      out = run();
    },
    result: () => Float32Array.from(out),
  };
}
