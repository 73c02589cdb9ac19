import { show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkOptions } from '../ops/check';
import { add, exp, multiply, subtract } from '../ops/map';
import { max, sum } from '../ops/reduce';
import { formatShape, type Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkRandomOptions, drawDirections, featuresDrawn, RANDOM_OPTIONS, type RandomFeatureOptions } from './draw';
import { defineFeatureMap, type FeatureMap, type FeatureOptions } from './feature-map';
import { largestOfHeads } from './heads';
import { project, projectBackward } from './project';

export interface PositiveOptions extends RandomFeatureOptions {
  /** Half as many directions w as features (an even number), each with its opposite -w, which vary less. Default false. */
  readonly antithetic?: boolean | undefined;
  /**
   * Keeps exponents out of float32's overflow by a factor that makes the largest feature of each row ('rows'), of each
   * head of each batch ('heads', for x [..., tokens, heads, d]) or of the whole tensor ('all') m^-1/2. Normalised attention
   * does not depend on such factors: of rows for queries, of heads for keys. `backward` takes the factor as a constant,
   * which is exact for a loss that does not depend on it. Default 'none'.
   */
  readonly stabilise?: 'none' | 'rows' | 'heads' | 'all' | undefined;
}

/**
 * Positive random features (FAVOR+): phi(x)_i = m^-1/2 exp(w_i x - |x|^2 / 2), whose mean of phi(x) . phi(y) over draws is
 * exp(x . y). For the softmax of q . k / sqrt(d) divide q and k by d^1/4 first.
 *
 * The relative variance of an estimate is (exp(|x + y|^2) - 1) / m with independent directions: useful for short vectors,
 * hopeless for those of unit variance and d in the tens.
 *
 * Source: Choromanski et al. 2020, "Rethinking Attention with Performers", arXiv 2009.14794.
 *
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function positive(options: PositiveOptions): FeatureMap {
  checkOptions('positive', options, [...RANDOM_OPTIONS, 'antithetic', 'stabilise']);
  checkRandomOptions(options);
  const { features, antithetic = false, stabilise = 'none' } = options;
  if (typeof antithetic !== 'boolean')
    throw new ParameterError(`antithetic must be true or false, got ${show(antithetic)}`);
  if (antithetic && features % 2 !== 0)
    throw new ParameterError(`features must be even with antithetic: true, got ${features}`);
  if (!['none', 'rows', 'heads', 'all'].includes(stabilise))
    throw new ParameterError(`stabilise must be none, rows, heads or all, got ${show(stabilise)}`);
  const directions = antithetic
    ? withOpposites(drawDirections(features / 2, options))
    : drawDirections(features, options);

  function forward(x: Tensor, control: FeatureOptions, shape: Shape): Tensor<'f32'> {
    if (stabilise === 'heads' && shape.length < 3)
      throw new ShapeError(`x must have shape [..., tokens, heads, d] with stabilise heads, got ${formatShape(shape)}`);
    using along = project(x, directions, control);
    using offsets = offsetsOf(x, along, control, shape);
    using exponents = subtract(along, offsets, control);
    return exp(exponents, control);
  }
  /** What each row's exponents lose, [r, 1]: |x|^2 / 2, the largest exponent where it is taken out, and ln(m) / 2. */
  function offsetsOf(x: Tensor, along: Tensor, control: FeatureOptions, shape: Shape): Tensor<'f32'> {
    using constant = x.runtime.tensor([Math.log(features) / 2], []);
    if (stabilise === 'rows') {
      using largest = max(along, { axes: [-1], keepDims: true, ...control });
      return add(largest, constant, control);
    }
    using halves = halfSquares(x, control);
    if (stabilise === 'none') return add(halves, constant, control);
    using exponents = largestExponents(along, halves, control);
    using largest = stabilise === 'heads' ? largestOfHeads(exponents, shape) : max(exponents, control);
    using cost = add(halves, largest, control);
    return add(cost, constant, control);
  }
  return defineFeatureMap({
    name: 'positive',
    features: featuresDrawn('positive', options),
    forward,
    backward(x, gradPhi, control, shape) {
      using phi = forward(x, control, shape);
      using gradExponents = multiply(phi, gradPhi, control);
      using gradProjection = projectBackward(gradExponents, directions, control);
      using sums = sum(gradExponents, { axes: [-1], keepDims: true, ...control });
      using gradSquares = multiply(x, sums, control);
      return subtract(gradProjection, gradSquares, control);
    },
  });
}

/** |x|^2 / 2 of each row: [r, d] -> [r, 1]. */
function halfSquares(x: Tensor, control: FeatureOptions): Tensor<'f32'> {
  using squares = multiply(x, x, control);
  using sums = sum(squares, { axes: [-1], keepDims: true, ...control });
  using half = x.runtime.tensor([0.5], []);
  return multiply(sums, half, control);
}

/** The largest exponent along - halves of each row, [r, 1]. */
function largestExponents(along: Tensor, halves: Tensor, control: FeatureOptions): Tensor<'f32'> {
  using tops = max(along, { axes: [-1], keepDims: true, ...control });
  return subtract(tops, halves, control);
}

function withOpposites(directions: Float32Array): Float32Array {
  return new Float32Array([...directions, ...directions.map((value) => -value)]);
}
