/** Every method of the library, by its name. */
import { show } from '../check';
import { ParameterError } from '../errors';
import type { Method } from './define';
import { exactAttention } from './dense/attention';
import { dydila } from './linear/dydila';
import { gatedDeltaRule } from './linear/gated-delta-rule';
import { kernelAttention } from './linear/kernel-attention';
import { l2vit } from './linear/l2vit';
import { lightningAttention } from './linear/lightning-attention';
import { natsLinear } from './linear/nats-linear';
import { performer } from './linear/performer';
import { transnormer } from './linear/transnormer';
import { localLinearAttention } from './local-linear/local-linear-attention';
import { parallax } from './local-linear/parallax';
import { generalizedNeighborhoodAttention } from './sparse/generalized-neighborhood-attention';
import { neighborhoodAttention } from './sparse/neighborhood-attention';
import { powerAttention } from './sparse/power-attention';
import { s2Attention } from './sparse/s2-attention';
import { stochasticAttention } from './sparse/stochastic-attention';

const BY_NAME = {
  attention: exactAttention,
  'neighborhood-attention': neighborhoodAttention,
  'generalized-neighborhood-attention': generalizedNeighborhoodAttention,
  's2-attention': s2Attention,
  'power-attention': powerAttention,
  'stochastic-attention': stochasticAttention,
  'lightning-attention': lightningAttention,
  'gated-delta-rule': gatedDeltaRule,
  'nats-linear': natsLinear,
  performer,
  'kernel-attention': kernelAttention,
  transnormer,
  l2vit,
  dydila,
  'local-linear-attention': localLinearAttention,
  parallax,
};

/** All methods of the library. */
export const methods: readonly Method[] = Object.values(BY_NAME);

/**
 * The library's method of that name, with the types of its declaration where the name is a literal.
 *
 * @throws {ParameterError} another name; it lists the known ones
 */
export function findMethod<Name extends keyof typeof BY_NAME>(name: Name): (typeof BY_NAME)[Name];
export function findMethod(name: string): Method;
export function findMethod(name: string): Method {
  if (typeof name === 'string' && Object.hasOwn(BY_NAME, name)) return BY_NAME[name as keyof typeof BY_NAME];
  throw new ParameterError(`method must be one of ${Object.keys(BY_NAME).join(', ')}, got ${show(name)}`);
}
