package steering

// Advance does at once what Run does as inputs move and time passes: it compiles when there is
// a reason to. It is for callers whose clock, in EngineConfig.Now, is not the wall's.
func (e *Engine) Advance() {
	select {
	case <-e.moved:
		e.recompile()
	default:
		e.tick()
	}
}
