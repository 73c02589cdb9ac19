import { neighborhoodAttention as method } from './method';

export const neighborhoodAttention = { ...method, experiment: () => import('./experiment') };
