using Google.Protobuf.Reflection;
using Microsoft.OpenApi;

namespace Broker.Api;

/// <summary>One method at one address: how it is served, and what is said of it (/openapi/v1.json).</summary>
internal sealed record HttpOperation
{
    public required string Method { get; init; }

    /// <summary>As ASP.NET Core writes it, e.g. /v1/topics/{topic}/records.</summary>
    public required string Pattern { get; init; }

    /// <summary>Its one name, as a client generator would call it.</summary>
    public required string Id { get; init; }

    public required string Tag { get; init; }

    public required string Summary { get; init; }

    public string Description { get; init; } = "";

    /// <summary>In the query or the headers; those of the address follow from the pattern.</summary>
    public IReadOnlyList<HttpParameter> Parameters { get; init; } = [];

    /// <summary>The types of body that it takes. Empty: it takes none.</summary>
    public IReadOnlyList<HttpBody> Bodies { get; init; } = [];

    public IReadOnlyList<HttpBody> Answers { get; init; } = [];

    /// <summary>Of a call of the contract: the message of which the names in the address are fields.</summary>
    public MessageDescriptor? Request { get; init; }

    public required Func<HttpContext, Task> ServeAsync { get; init; }
}

/// <summary>A type of body, and its form.</summary>
internal sealed record HttpBody(string ContentType, Func<OpenApiDocument, IOpenApiSchema> Schema);

/// <summary>What stands in a query or in a header.</summary>
internal sealed record HttpParameter(
    string Name, string Description, JsonSchemaType Type = JsonSchemaType.String, bool InHeader = false);
