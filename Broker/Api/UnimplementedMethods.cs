using System.Globalization;
using System.Reflection;
using Broker.Protocol.Wire;
using Google.Protobuf;
using Grpc.AspNetCore.Server;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// The contract has methods that this version has not. Generated code would answer them with an empty message; here
/// each one is named. What is missing is found by reflection, once, when the service is mapped: a method that its
/// service does not override. So nobody keeps a list, and methods that exist pay nothing.
/// </summary>
internal static class UnimplementedMethods
{
    private const string ContentType = "application/grpc";

    private static readonly string Status = ((int)StatusCode.Unimplemented).ToString(CultureInfo.InvariantCulture);

    /// <summary>Has methods that the service does not override answered with UNIMPLEMENTED and a sentence.</summary>
    public static void RefuseUnimplemented(this IEndpointConventionBuilder service) => service.Add(static endpoint =>
    {
        if (endpoint.Metadata.OfType<GrpcMethodMetadata>().FirstOrDefault() is { } method && !IsImplemented(method))
        {
            var sentence = Describe(method.Method);
            endpoint.RequestDelegate = http => Refuse(http, sentence);
        }
    });

    private static bool IsImplemented(GrpcMethodMetadata method)
    {
        var handler = method.ServiceType.GetMethod(method.Method.Name, BindingFlags.Instance | BindingFlags.Public);
        return handler?.DeclaringType?.GetCustomAttribute<BindServiceMethodAttribute>(inherit: false) is null;
    }

    // Plain ASCII without '%', so that it stands in grpc-message as it is.
    private static string Describe(IMethod method) =>
        $"{method.ServiceName}/{method.Name} is part of the contract, but this version of the broker does not have it "
        + "yet. Nothing was done.";

    /// <summary>
    /// A response of trailers only (gRPC over HTTP/2, "Responses"). The request is not read, however long its stream.
    /// </summary>
    private static Task Refuse(HttpContext http, string sentence)
    {
        http.Response.ContentType = ContentType;
        http.Response.Headers["grpc-status"] = Status;
        http.Response.Headers["grpc-message"] = sentence;
        http.Response.Headers[MetadataExtensions.StatusDetailsTrailerName] = Convert.ToBase64String(
            StatusMap.Details(StatusCode.Unimplemented, sentence, Reason.NotInThisVersion).ToByteArray());
        return Task.CompletedTask;
    }
}
