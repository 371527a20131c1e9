package frontdoor

import (
	"context"
	"strings"

	"github.com/boxyard/boxyard/internal/service"
)

// services are NAME.NAMESPACE.
type services struct{ all *service.Directory }

func (s services) find(ctx context.Context, name string) (target, error) {
	service, namespace, ok := strings.Cut(name, ".")
	if !ok || strings.Contains(namespace, ".") {
		return target{}, errUnknown
	}
	b, found, err := s.all.Find(ctx, namespace, service)
	switch {
	case err != nil:
		return target{}, err
	case !found && !s.all.Complete():
		return target{}, errEarly
	case !found:
		return target{}, errUnknown
	}
	return target{
		title: "the service " + namespace + "/" + service, address: b.Address, tls: b.TLS, h2c: b.H2C,
		unready: func(ctx context.Context) error { return s.all.Unready(ctx, namespace, service) },
	}, nil
}

func (s services) names(context.Context) []string { return s.all.Names() }
