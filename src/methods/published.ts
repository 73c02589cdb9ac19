/** Every method that has a folder here, a line each. */
export { exactAttention } from './dense/attention';
export { dydila } from './linear/dydila';
export { gatedDeltaRule } from './linear/gated-delta-rule';
export { kernelAttention } from './linear/kernel-attention';
export { l2vit } from './linear/l2vit';
export { lightningAttention } from './linear/lightning-attention';
export { natsLinear } from './linear/nats-linear';
export { performer } from './linear/performer';
export { transnormer } from './linear/transnormer';
export { localLinearAttention } from './local-linear/local-linear-attention';
export { parallax } from './local-linear/parallax';
export { generalizedNeighborhoodAttention } from './sparse/generalized-neighborhood-attention';
export { neighborhoodAttention } from './sparse/neighborhood-attention';
export { powerAttention } from './sparse/power-attention';
export { s2Attention } from './sparse/s2-attention';
export { stochasticAttention } from './sparse/stochastic-attention';
