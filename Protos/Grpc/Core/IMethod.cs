namespace Grpc.Core;

/// <summary>A method of a service, without its message types.</summary>
public interface IMethod
{
    MethodType Type { get; }

    /// <summary>With the package, e.g. "broker.v1.Broker".</summary>
    string ServiceName { get; }

    string Name { get; }

    /// <summary>The path of the HTTP/2 request, e.g. "/broker.v1.Broker/Publish".</summary>
    string FullName { get; }
}
