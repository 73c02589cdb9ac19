/** How keys are found: by a look at all, in a graph of keys, or in cells around centres. */
export const INDEXES = ['flat', 'graph', 'ivf'] as const;
/** The copy of a key in 8 bits is a multiple of so many bytes. */
export const CODE_BYTES = 16;
