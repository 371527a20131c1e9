package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/boxyard/boxyard/clients/docker"
	"github.com/docker/buildx/commands"
	"github.com/docker/buildx/util/cobrautil"
	"github.com/docker/buildx/util/desktop"
	"github.com/docker/buildx/version"
	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli-plugins/metadata"
	dockerplugin "github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/debug"
	cliflags "github.com/docker/cli/cli/flags"
	solvererrdefs "github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/sourcepolicy/policysession"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/stack"
	"google.golang.org/grpc/codes"

	// The ways to reach a builder register themselves.
	_ "github.com/docker/buildx/driver/docker"
	_ "github.com/docker/buildx/driver/docker-container"
	_ "github.com/docker/buildx/driver/kubernetes"
	_ "github.com/docker/buildx/driver/remote"

	// BuildKit's client speaks gRPC with the codec registered here.
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto"
)

// Buildx is buildx, called by docker as a plugin or by itself. It returns the exit code.
// It follows cmd/buildx of github.com/docker/buildx.
func Buildx() int {
	stack.SetVersionInfo(version.Version, version.Revision)
	if err := docker.UseBoxyard(cliflags.NewClientOptions(), config.LoadDefaultConfigFile(os.Stderr)); err != nil {
		return report(err)
	}
	dockerCLI, err := command.NewDockerCli()
	if err != nil {
		return report(err)
	}
	if dockerplugin.RunningStandalone() {
		return reportBuild(dockerCLI, commands.NewRootCmd("buildx", false, dockerCLI).Execute())
	}
	return reportBuild(dockerCLI, dockerplugin.RunPlugin(dockerCLI, commands.NewRootCmd("buildx", true, dockerCLI), metadata.Metadata{
		SchemaVersion: "0.1.0",
		Vendor:        "Docker Inc.",
		Version:       version.Version,
	}))
}

// reportBuild prints err as buildx does, with the place in the Dockerfile, and returns the exit code.
func reportBuild(dockerCLI *command.DockerCli, err error) int {
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[cli.StatusError](err); ok {
		if status.Status != "" {
			fmt.Fprintln(dockerCLI.Err(), status.Status)
		}
		return max(status.StatusCode, 1)
	}
	if exit, ok := errors.AsType[cobrautil.ExitCodeError](err); ok {
		return int(exit)
	}
	for _, msg := range policysession.DenyMessages(err) {
		if msg.GetMessage() != "" {
			fmt.Fprintf(dockerCLI.Err(), "Policy: %s\n", msg.GetMessage())
		}
	}
	for _, source := range solvererrdefs.Sources(err) {
		_ = source.Print(dockerCLI.Err())
	}
	if debug.IsEnabled() {
		fmt.Fprintf(dockerCLI.Err(), "ERROR: %+v", stack.Formatter(err))
	} else {
		fmt.Fprintf(dockerCLI.Err(), "ERROR: %v\n", err)
	}
	if ref, ok := errors.AsType[*desktop.ErrorWithBuildRef](err); ok {
		_ = ref.Print(dockerCLI.Err())
	}
	return buildExitCode(err)
}

// buildExitCode has the codes that buildx documents.
func buildExitCode(err error) int {
	switch code := grpcerrors.Code(err); {
	case code == codes.Internal:
		return 100
	case code == codes.ResourceExhausted:
		return 102
	case code == codes.Canceled, errors.Is(err, context.Canceled):
		return 130
	}
	return 1
}
