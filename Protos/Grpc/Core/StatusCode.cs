namespace Grpc.Core;

/// <summary>The outcome of a call, as numbered by the gRPC specification (doc/statuscodes.md).</summary>
public enum StatusCode
{
    /// <summary>Not an error.</summary>
    OK = 0,

    /// <summary>The caller gave the call up.</summary>
    Cancelled = 1,

    /// <summary>An error that carries no better code, e.g. an exception that the handler did not translate.</summary>
    Unknown = 2,

    /// <summary>The request is wrong whatever the state of the server.</summary>
    InvalidArgument = 3,

    /// <summary>The deadline passed before the call ended; the server may have done the work.</summary>
    DeadlineExceeded = 4,

    /// <summary>What was asked for does not exist.</summary>
    NotFound = 5,

    /// <summary>What was to be created exists.</summary>
    AlreadyExists = 6,

    /// <summary>The caller is known, and may not do this.</summary>
    PermissionDenied = 7,

    /// <summary>A quota, a size limit or a resource is used up.</summary>
    ResourceExhausted = 8,

    /// <summary>The state of the server does not allow the operation; a retry without a change is pointless.</summary>
    FailedPrecondition = 9,

    /// <summary>A conflict with another operation; a retry at a higher level may succeed.</summary>
    Aborted = 10,

    /// <summary>The operation reaches past a valid range, which may grow.</summary>
    OutOfRange = 11,

    /// <summary>The server does not know the method, or not this use of it.</summary>
    Unimplemented = 12,

    /// <summary>A broken invariant or a broken protocol.</summary>
    Internal = 13,

    /// <summary>The server cannot be reached or cannot serve at the moment; retry after a pause.</summary>
    Unavailable = 14,

    /// <summary>Data is lost or damaged for good.</summary>
    DataLoss = 15,

    /// <summary>The caller is not known.</summary>
    Unauthenticated = 16,
}
