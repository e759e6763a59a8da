package control

import "math"

// moments are those of a series of times, and of each two of them in a row.
type moments struct {
	n, sum, squares float64
	// Of pairs: how many, the sums of their first and their second, and that of their products.
	pairs, firsts, seconds, products float64
}

// add adds a time, with the one before it in the same series if there is one.
func (m *moments) add(x, before float64, paired bool) {
	m.n++
	m.sum += x
	m.squares += x * x
	if paired {
		m.pairs++
		m.firsts += before
		m.seconds += x
		m.products += before * x
	}
}

// fade keeps a part of everything.
func (m *moments) fade(keep float64) {
	m.n *= keep
	m.sum *= keep
	m.squares *= keep
	m.pairs *= keep
	m.firsts *= keep
	m.seconds *= keep
	m.products *= keep
}

func (m *moments) mean() float64 { return m.sum / m.n }

func (m *moments) variance() float64 {
	mean := m.mean()
	return max(0, m.squares/m.n-mean*mean)
}

func (m *moments) deviation() float64 { return math.Sqrt(m.variance()) }

// trim cuts an outlier, so that one break doesn't hide the rate of all the rest. An exponential
// time is that long once in 1,000 times.
func (m *moments) trim(x float64) float64 {
	if m.n < 2*enough {
		return x
	}
	return min(x, m.mean()+6*max(m.deviation(), leastIdle))
}

// spread is the standard deviation of idle times, which equals their mean when they are
// exponential. Unlike the mean it doesn't depend on when an answer ended exactly.
//
// A resolver that counts whole seconds cuts what is left of the second off each TTL: of the idle
// time E(k) before, only the part within a second, since TTL and all else are whole. So it shows
// E(k+1) − frac E(k), with the variance Var E + Var frac E. That part is a piece of E(k) itself,
// independent of its whole seconds since E is memoryless: two idle times in a row have the
// covariance −Var frac E. Variance and covariance add up to Var E for it, and for resolvers that
// count exactly, whose covariance is 0. Var frac E is at most Var E, so that at least half of the
// variance is the users'.
func (m *moments) spread() float64 {
	all := m.variance()
	users := all
	if m.pairs > 1 {
		users += m.products/m.pairs - m.firsts/m.pairs*m.seconds/m.pairs
	}
	return math.Sqrt(max(all/2, min(users, all)))
}
