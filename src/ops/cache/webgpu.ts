import { UnsupportedError } from '../../errors';

const missing = (): never => {
  throw new UnsupportedError('caches on webgpu are not there yet');
};
export const planAppend = missing;
export const planRead = missing;
