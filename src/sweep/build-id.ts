/** Which build of this package runs: results of one sweep come from one build. */
import { version } from '../../package.json';

/** Put here by tsdown; not there in sources that run as they are. */
declare const SACCADE_COMMIT: string | undefined;

/** Such as '0.1.0 at 91fcf48'; the version alone where the commit is unknown. */
export const BUILD: string = typeof SACCADE_COMMIT === 'undefined' ? version : `${version} at ${SACCADE_COMMIT}`;
