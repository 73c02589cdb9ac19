/** Params of methods where there are no defaults. */
export const PARAMS: Readonly<Record<string, Record<string, unknown>>> = {
  sdlska: { kernel: 23 },
  'dilated-reparam-conv': { kernel: 13 },
  'neighborhood-attention': { window: 2 },
  'generalized-neighborhood-attention': { window: 2 },
  'stochastic-attention': { window: 2 },
  'adaptive-token-pruning': { threshold: 0.01 },
  'point-groups': { groups: 2, size: 3 },
  'subject-scores': { subjects: [1, 2] },
  'simprune-attention': { grid: [2, 3] },
  'bilevel-routing-attention': { regions: 1, topRegions: 1 },
  deltallm: { threshold: 0.2 },
  sale: { threshold: 0.01 },
};
