/** Maps that take each number on its own, so that there are as many features as numbers. */
import { checkWhole } from '../check';
import * as ops from '../ops/map';
import { defineFeatureMap, type FeatureMap } from './feature-map';

/** max(x, 0): features of which many are 0; queries may meet no key at all. */
export const relu: FeatureMap = elementwise('relu', ops.relu);

/** elu(x) + 1, always positive (Katharopoulos et al. 2020, arXiv 2006.16236). */
export const eluPlusOne: FeatureMap = elementwise('eluPlusOne', ops.eluPlusOne);

/** elu(x): features of either sign, to be used without a normaliser (TransNormer, arXiv 2210.10340). */
export const elu: FeatureMap = elementwise('elu', ops.elu);

/** x / (1 + e^-x): features of either sign, to be used without a normaliser (TransNormerLLM, arXiv 2307.14995). */
export const silu: FeatureMap = elementwise('silu', ops.silu);

/**
 * max(x, 0)^exponent: the larger the exponent, the more a vector's largest numbers stand out.
 *
 * @throws {ParameterError} an exponent that is no integer from 1 to 64
 */
export function power(exponent: number): FeatureMap {
  checkWhole('exponent', exponent, 1, ops.MOST_POWER);
  return defineFeatureMap({
    name: `power-${exponent}`,
    features: (d) => d,
    forward: (x, options) => ops.power(ops.relu(x, options), exponent, options),
  });
}

/** The map of an op and its name. */
export function elementwise(name: string, op: typeof ops.relu): FeatureMap {
  return defineFeatureMap({ name, features: (d) => d, forward: op });
}
