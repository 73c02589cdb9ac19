import { transnormer as method } from './method';

export const transnormer = { ...method, experiment: () => import('./experiment') };
