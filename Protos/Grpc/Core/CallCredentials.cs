namespace Grpc.Core;

/// <summary>What proves, per call, who the caller is: headers that an interceptor adds.</summary>
public abstract class CallCredentials
{
    private protected CallCredentials()
    {
    }

    public static CallCredentials FromInterceptor(AsyncAuthInterceptor interceptor)
    {
        ArgumentNullException.ThrowIfNull(interceptor);
        return new InterceptorCredentials(interceptor);
    }

    internal abstract Task AddToAsync(AuthInterceptorContext context, Metadata metadata);

    private sealed class InterceptorCredentials(AsyncAuthInterceptor interceptor) : CallCredentials
    {
        internal override Task AddToAsync(AuthInterceptorContext context, Metadata metadata) =>
            interceptor(context, metadata);
    }
}
