namespace Grpc.Core;

/// <summary>
/// What the four call types share, in the shape of their official constructors: functions over one state object.
/// </summary>
internal readonly struct CallHandle(
    Func<object, Task<Metadata>> responseHeaders,
    Func<object, Status> status,
    Func<object, Metadata> trailers,
    Action<object> dispose,
    object state)
{
    public Task<Metadata> ResponseHeadersAsync => responseHeaders(state);

    public static CallHandle Over(
        Task<Metadata> responseHeaders, Func<Status> status, Func<Metadata> trailers, Action dispose) =>
        new(
            static s => ((Functions)s).ResponseHeaders,
            static s => ((Functions)s).Status(),
            static s => ((Functions)s).Trailers(),
            static s => ((Functions)s).Dispose(),
            new Functions(responseHeaders, status, trailers, dispose));

    public Status GetStatus() => status(state);

    public Metadata GetTrailers() => trailers(state);

    public void Dispose() => dispose(state);

    private sealed record Functions(
        Task<Metadata> ResponseHeaders, Func<Status> Status, Func<Metadata> Trailers, Action Dispose);
}
