/** Random cases are the same in every run; SACCADE_SEED=n tries others. */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env.SACCADE_SEED ?? 1) });
