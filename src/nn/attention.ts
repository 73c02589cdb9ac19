/**
 * Multi-head attention by any method: projections of x to queries, keys and values, what the method needs beside them, and
 * a projection of its result.
 * Letters: b batch, n tokens, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import { checkKnown, checkNumbers, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { findMethod } from '../methods/registry';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { linear } from './linear';
import { checkTokens, defineModule, type Module, matrix } from './module';

export interface AttentionConfig {
  /** Of a registered method; default 'attention', which is exact. */
  readonly method?: string | undefined;
  /** Of the method, as `parse` takes them. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  readonly width: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values, which divide those of queries; default: as many. */
  readonly keyHeads?: number | undefined;
  /** Of queries and keys, and of values; default: the width over the query heads, and what d is. */
  readonly d?: number | undefined;
  readonly e?: number | undefined;
  /** Extents of the grid, row-major, that the tokens of spatial methods lie on. */
  readonly grid?: readonly number[] | undefined;
  /** Which layer of how many, from 0: parameters of methods may start by it. Default: the only one. */
  readonly layer?: number | undefined;
  readonly layers?: number | undefined;
}

const NAMES = ['method', 'params', 'width', 'heads', 'keyHeads', 'd', 'e', 'grid', 'layer', 'layers'];

/**
 * x [b, n, width] -> [b, n, width]. Parameters: `q_proj.weight` [h d, width], `k_proj.weight` [g d, width],
 * `v_proj.weight` [g e, width], `o_proj.weight` [width, h e], and those of the method's layer.
 *
 * @throws {ParameterError} a setting that is unknown, out of range, or nothing that the method can be used with
 */
export function attention(config: AttentionConfig): Module {
  checkKnown('config', config, NAMES, (name) => `config has no '${name}'`);
  const {
    method: name = 'attention',
    params: given = {},
    width,
    heads,
    keyHeads = heads,
    grid,
    layer = 0,
    layers = 1,
  } = config;
  const method = findMethod(name);
  const params = method.parse(given);
  for (const [each, value] of Object.entries({ width, heads, keyHeads, layers })) checkWhole(each, value, 1);
  checkWhole('layer', layer, 0, layers - 1);
  if (config.d === undefined && width % heads !== 0)
    throw new ParameterError(`heads must divide the width ${width} unless d is given, got ${heads}`);
  const { d = width / heads } = config;
  const { e = d } = config;
  checkWhole('d', d, 1);
  checkWhole('e', e, 1);
  if (heads % keyHeads !== 0) throw new ParameterError(`keyHeads must divide the heads ${heads}, got ${keyHeads}`);
  if (keyHeads !== heads && method.inputs.k?.split(' ').includes('h'))
    throw new ParameterError(`keyHeads of ${name} must be as many as heads, ${heads}, got ${keyHeads}`);
  checkGrid(name, method.inputs.q as string, grid);
  const extra = method.layer?.({ width, heads, keyHeads, d, e, layer, layers }, params);
  return defineModule({
    name: `attention by ${name}`,
    parameters: {
      'q_proj.weight': matrix(heads * d, width),
      'k_proj.weight': matrix(keyHeads * d, width),
      'v_proj.weight': matrix(keyHeads * e, width),
      'o_proj.weight': matrix(width, heads * e),
      ...extra?.parameters,
    },
    forward(x, parameters, control) {
      const [b, n] = checkTokens(x, width);
      if (grid && n !== sizeOf(grid))
        throw new ShapeError(`x must have ${sizeOf(grid)} tokens, those of the grid ${show(grid)}, got ${n}`);
      const project = (weight: Tensor, count: number, size: number) =>
        linear(x, weight, control).reshape([b, ...(grid ?? [n]), count, size]);
      const projections = {
        q: project(parameters['q_proj.weight'], heads, d),
        k: project(parameters['k_proj.weight'], keyHeads, d),
        v: project(parameters['v_proj.weight'], keyHeads, e),
      };
      const others = extra?.inputs(x, projections, parameters, control);
      const { out } = method.forward({ ...projections, ...others }, params, control);
      return linear((out as Tensor).reshape([b, n, heads * e]), parameters['o_proj.weight'], control);
    },
  });
}

/** Throws unless there is a grid where the method, whose queries have the shape `letters`, is a spatial one, and only there. */
function checkGrid(name: string, letters: string, grid: readonly number[] | undefined): void {
  const isSpatial = letters.includes('...space');
  if (grid === undefined) {
    if (isSpatial) throw new ParameterError(`grid must be given: ${name} is of tokens on one`);
    return;
  }
  if (!isSpatial) throw new ParameterError(`grid is of spatial methods: ${name} is of sequences, got ${show(grid)}`);
  checkNumbers('grid', grid, 'integers >= 1', (extent) => Number.isSafeInteger(extent) && extent >= 1);
  if (grid.length < 1 || grid.length > 3)
    throw new ParameterError(`grid must have one to three axes, got ${show(grid)}`);
}
