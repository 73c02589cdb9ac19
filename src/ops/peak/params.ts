import { struct } from '../../runtime/wasm/struct';

export const PeakParams = struct({ rounds: 'i32', factor: 'f64' });
