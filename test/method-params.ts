/** Params of methods where there are no defaults. */
export const PARAMS: Readonly<Record<string, object>> = {
  'neighborhood-attention': { window: 2 },
  'generalized-neighborhood-attention': { window: 2 },
  'stochastic-attention': { window: 2 },
};
