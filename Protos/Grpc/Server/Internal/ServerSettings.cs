using Microsoft.Extensions.Logging;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>What all calls of an application share.</summary>
internal sealed record ServerSettings(GrpcServiceOptions Options, TimeProvider TimeProvider, ILogger Logger);
