import { natsLinear as method } from './method';

export const natsLinear = { ...method, experiment: () => import('./experiment') };
