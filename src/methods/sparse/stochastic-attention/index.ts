import { stochasticAttention as method } from './method';

export const stochasticAttention = { ...method, experiment: () => import('./experiment') };
