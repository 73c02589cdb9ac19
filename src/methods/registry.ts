/** Every method there is. */
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

/** All methods of the library. */
export const methods: readonly Method[] = [
  exactAttention,
  neighborhoodAttention,
  generalizedNeighborhoodAttention,
  s2Attention,
  powerAttention,
  stochasticAttention,
  lightningAttention,
  gatedDeltaRule,
  natsLinear,
  performer,
  kernelAttention,
  transnormer,
  l2vit,
  dydila,
  localLinearAttention,
  parallax,
];

/** The method of that name; a ParameterError lists the known names. */
export function findMethod(name: string): Method {
  const method = methods.find((candidate) => candidate.name === name);
  if (!method) {
    const known = methods.map((candidate) => candidate.name).join(', ');
    throw new ParameterError(`method must be one of ${known}, got ${show(name)}`);
  }
  return method;
}
