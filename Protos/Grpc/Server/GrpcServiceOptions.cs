using System.IO.Compression;

namespace Grpc.AspNetCore.Server;

/// <summary>Options of all gRPC services of an application.</summary>
public class GrpcServiceOptions
{
    /// <summary>In bytes. Default: null, no limit. A larger response ends the call with RESOURCE_EXHAUSTED.</summary>
    public int? MaxSendMessageSize { get; set; }

    /// <summary>
    /// In bytes. Default: 4 MiB. Null: no limit. A larger request ends the call with RESOURCE_EXHAUSTED.
    /// </summary>
    public int? MaxReceiveMessageSize { get; set; } = Wire.GrpcHeaders.DefaultMaxReceiveSizeBytes;

    /// <summary>Tell the caller the type and message of an exception that a handler throws. Default: false.</summary>
    public bool? EnableDetailedErrors { get; set; }

    /// <summary>
    /// "gzip": compress responses, to callers that accept it; a handler leaves a message as it is with
    /// <see cref="Core.WriteFlags.NoCompress"/>. Default: null, as they are.
    /// </summary>
    public string? ResponseCompressionAlgorithm { get; set; }

    /// <summary>Default: null, the fastest.</summary>
    public CompressionLevel? ResponseCompressionLevel { get; set; }

    /// <summary>Leave calls of unknown services and methods to the rest of the application. Default: false.</summary>
    public bool? IgnoreUnknownServices { get; set; }
}
