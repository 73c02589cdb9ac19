/** How keys are found: by a look at all, in a graph of keys, or in cells around centres. */
export const INDEXES = ['flat', 'graph', 'ivf'] as const;
