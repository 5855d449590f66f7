package dnsctl

import "maps"

// Inherit takes over what an earlier provider of the same zone at the same
// endpoint has learnt: the records to which names are pinned, what may still
// land late, how much of the quota is used up, and the session in hand. Without it a changed
// configuration would pin whatever stands there by then, and would forget the
// requests that are not settled. It says whether the two belong together. It is
// called before the new one is used; the old one may end what it has begun.
func (p *cloud) Inherit(old Provider) bool {
	var was *cloud
	switch o := old.(type) {
	case *Alidns:
		was = o.cloud
	case *Pvtz:
		if a, ok := p.api.(*pvtzAPI); ok && a.id != o.api.id {
			return false // zones of several VPCs may have one name
		}
		was = o.cloud
	}
	if was == nil || was == p || was.name != p.name || was.zone != p.zone || was.call.at != p.call.at {
		return false
	}
	was.settling.mu.Lock()
	was.settling.wait = p.settle
	was.settling.mu.Unlock()
	p.settling = was.settling
	if was.call.pace.lanes[laneWrite].Limit() == p.call.pace.lanes[laneWrite].Limit() {
		p.call.pace = was.call.pace
	}
	if a, b := p.call.keys, was.call.keys; a.c == b.c && a.narrow == b.narrow {
		b.mu.Lock()
		a.session, a.file, a.fileSeen = b.session, b.file, b.fileSeen
		b.mu.Unlock()
	}
	was.mu.Lock()
	names := maps.Clone(was.names)
	was.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, k := range names {
		if p.allowed[n] == nil {
			continue
		}
		if pins, ok := p.fixed[n]; ok {
			k.mu.Lock()
			k.pins = maps.Clone(pins)
			k.mu.Unlock()
		}
		p.names[n] = k // the lock of its writes included: the two never write at once
	}
	return true
}
