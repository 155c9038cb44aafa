"""The operators of reactivex by name: `rx.debounce` in a graph, made from their signatures; no list of them is kept."""
