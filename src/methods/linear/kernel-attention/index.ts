import { kernelAttention as method } from './method';

export const kernelAttention = { ...method, experiment: () => import('./experiment') };
