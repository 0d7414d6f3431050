namespace Grpc.Core;

/// <summary>The deadline and the cancellation of a server call, for a call that its handler makes.</summary>
public abstract class ContextPropagationToken
{
    internal ContextPropagationToken()
    {
    }
}
