import { struct } from '../../runtime/cpu/struct';

export const PeakParams = struct({ rounds: 'i32', factor: 'f64' });
