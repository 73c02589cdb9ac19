import { performer as method } from './method';

export const performer = { ...method, experiment: () => import('./experiment') };
