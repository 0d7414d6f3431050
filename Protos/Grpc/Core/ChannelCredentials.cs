namespace Grpc.Core;

/// <summary>Whether a channel is in the clear or inside TLS.</summary>
public abstract class ChannelCredentials
{
    private protected ChannelCredentials()
    {
    }

    public static ChannelCredentials Insecure { get; } = new TransportCredentials(isSecure: false);

    public static ChannelCredentials SecureSsl { get; } = new TransportCredentials(isSecure: true);

    internal abstract bool IsSecure { get; }

    internal virtual CallCredentials? PerCall => null;

    /// <summary>The transport of the first, with the second applied to each call.</summary>
    public static ChannelCredentials Create(ChannelCredentials channelCredentials, CallCredentials callCredentials)
    {
        ArgumentNullException.ThrowIfNull(channelCredentials);
        ArgumentNullException.ThrowIfNull(callCredentials);
        return new CompositeCredentials(channelCredentials, callCredentials);
    }

    private sealed class TransportCredentials(bool isSecure) : ChannelCredentials
    {
        internal override bool IsSecure => isSecure;
    }

    private sealed class CompositeCredentials(ChannelCredentials transport, CallCredentials perCall)
        : ChannelCredentials
    {
        internal override bool IsSecure => transport.IsSecure;

        internal override CallCredentials PerCall => perCall;
    }
}
