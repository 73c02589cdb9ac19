/** The state of a page in an address, its own unless given, behind `#?`. */
export function stateOfAddress(address = location.href): URLSearchParams | undefined {
  const { hash } = new URL(address);
  return hash.startsWith('#?') ? new URLSearchParams(hash.slice(2)) : undefined;
}

export function keepInAddress(state: URLSearchParams): void {
  history.replaceState(null, '', state.size > 0 ? `#?${state}` : location.pathname + location.search);
}
