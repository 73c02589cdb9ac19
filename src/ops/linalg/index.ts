/** Linear algebra: factors, systems and decompositions of matrices [..., n, n], a batch at a time. */
export { type CholeskyOptions, cholesky } from './cholesky';
export { type EighResult, eigh, type SvdResult, svd } from './decompose';
export { lstsq, type QrResult, qr } from './qr';
export {
  inverse,
  logdet,
  type RefinedSolution,
  type SolveOptions,
  type SolveRefinedOptions,
  solve,
  solveRefined,
} from './solve';
export { type TriangularSolveOptions, triangularSolve } from './triangular-solve';
