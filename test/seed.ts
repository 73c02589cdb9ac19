/** Random cases are the same in every run; SACCADE_SEED=n tries others. */
import fc from 'fast-check';
import { inject } from 'vitest';

fc.configureGlobal({ seed: inject('seed') });
