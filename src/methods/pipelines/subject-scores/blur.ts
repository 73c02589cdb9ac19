/** Weights of a place's neighbours along an axis beside its own 1: exp(-((x - m) / (2 sigma))^2), sigma 0.5. */
const SIDE = Math.exp(-1);

/** The blur of a line of `extent` places, as a matrix; what lies past an end is mirrored in it. */
export function blurMatrix(extent: number): Float64Array {
  const matrix = new Float64Array(extent * extent);
  const add = (i: number, j: number, weight: number) => {
    const mirrored = extent === 1 ? 0 : j < 0 ? -j : j < extent ? j : 2 * (extent - 1) - j;
    matrix[i * extent + mirrored] = (matrix[i * extent + mirrored] as number) + weight / (1 + 2 * SIDE);
  };
  for (let i = 0; i < extent; i++) {
    add(i, i, 1);
    add(i, i - 1, SIDE);
    add(i, i + 1, SIDE);
  }
  return matrix;
}
