using Microsoft.AspNetCore.OpenApi;
using Microsoft.AspNetCore.Routing.Template;
using Microsoft.OpenApi;
using Scalar.AspNetCore;

namespace Broker.Api;

/// <summary>
/// JSON over HTTP, for everybody without gRPC: addresses below /v1 at the broker's HTTP port, their OpenAPI document
/// and a page that shows it. They are endpoints as the gRPC methods are; nothing of them stands in the way of those.
/// </summary>
internal static class HttpApi
{
    public const string Root = "/v1";
    public const string DocumentPath = "/openapi/v1.json";
    public const string PagePath = "/docs";

    public static void AddHttpApi(this IServiceCollection services)
    {
        services.AddSingleton<HttpBodies>();
        services.AddSingleton<ContractCalls>();
        services.AddSingleton<ContractRoutes>();
        services.AddSingleton<PublishRoutes>();
        services.AddSingleton<ReadRoutes>();
        services.AddSingleton<SubscribeRoutes>();
        services.AddOpenApi("v1", static options =>
        {
            options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
            options.AddDocumentTransformer(HttpDocument.DescribeAsync);
            options.AddOperationTransformer(HttpDocument.DescribeOperationAsync);
        });
    }

    public static void MapHttpApi(this WebApplication app)
    {
        var services = app.Services;
        HttpOperation[] operations =
        [
            .. services.GetRequiredService<PublishRoutes>().All(),
            .. services.GetRequiredService<ReadRoutes>().All(),
            .. services.GetRequiredService<SubscribeRoutes>().All(),
            .. services.GetRequiredService<ContractRoutes>().All(),
        ];
        var logger = services.GetRequiredService<ILoggerFactory>().CreateLogger("Broker.Http");
        foreach (var operation in operations)
        {
            // A delegate, not a RequestDelegate: only those are seen by OpenAPI.
            Delegate serve = (HttpContext http) => ServeAsync(http, operation.ServeAsync, logger);
            app.MapMethods(operation.Pattern, [operation.Method], serve)
                .WithName(operation.Id)
                .WithMetadata(operation);
        }

        // What nothing else takes: before gRPC's own answer for calls that it does not know, of two parts.
        app.Map(Root + "/{**rest}", http => ServeAsync(http, _ => throw WhyNothing(http, operations), logger))
            .WithOrder(1)
            .ExcludeFromDescription();
        app.MapOpenApi("/openapi/{documentName}.json");
        app.MapScalarApiReference(PagePath, static page =>
        {
            page.Title = "Broker.Aspire";
            page.OpenApiRoutePattern = DocumentPath;
            page.DefaultFonts = false;
            page.Telemetry = false;
        }).Add(KeepToItself);
    }

    /// <summary>
    /// The page's script is in its package, and its browser is told to ask nobody else for anything: it works without
    /// an internet, and tells nobody who reads it.
    /// </summary>
    private static void KeepToItself(EndpointBuilder page)
    {
        var serve = page.RequestDelegate!;
        page.RequestDelegate = http =>
        {
            http.Response.Headers.ContentSecurityPolicy =
                "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self'";
            return serve(http);
        };
    }

    /// <summary>Every refusal has a body that says why.</summary>
    private static async Task ServeAsync(HttpContext http, Func<HttpContext, Task> serve, ILogger logger)
    {
        try
        {
            RefuseForeignPages(http.Request);
            await serve(http);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            // The client has gone; nobody hears an answer.
        }
        catch (Exception failure) when (!http.Response.HasStarted)
        {
            var problem = HttpProblem.Of(failure);
            if (problem is null)
            {
                ApiEvents.HttpFailed(logger, http.Request.Method, http.Request.Path.Value ?? "", failure);
                problem = HttpProblem.Of(
                    StatusCodes.Status500InternalServerError,
                    Protocol.Wire.Reason.Internal,
                    "This is a fault of the broker, whose log has it. The request may be carried out or not.");
            }

            await problem.WriteAsync(http);
        }
        catch (Exception failure)
        {
            ApiEvents.HttpBroke(logger, http.Request.Method, http.Request.Path.Value ?? "", failure.Message);
            http.Abort(); // Half an answer must not look like a whole one.
        }
    }

    /// <summary>
    /// A browser sends what a page of any site tells it to, also to this machine: such a page must not publish, or
    /// purge a topic, behind its reader's back. Who is no browser names no origin.
    /// </summary>
    private static void RefuseForeignPages(HttpRequest request)
    {
        if (request.Headers.Origin is { Count: > 0 } origin
            && !(Uri.TryCreate(origin[0], UriKind.Absolute, out var from)
                && from.Authority.Equals(request.Host.Value, StringComparison.OrdinalIgnoreCase)))
        {
            throw new HttpRefusal(
                StatusCodes.Status403Forbidden,
                Protocol.Wire.Reason.InvalidRequest,
                $"A page of '{origin}' asks for this, by its reader's browser. Only pages of this address may; send it "
                + "from a program, without the header Origin.");
        }
    }

    private static HttpRefusal WhyNothing(HttpContext http, HttpOperation[] operations)
    {
        var path = http.Request.Path;
        var methods = operations
            .Where(each => new TemplateMatcher(TemplateParser.Parse(each.Pattern), []).TryMatch(path, []))
            .Select(static each => each.Method).Distinct().Order(StringComparer.Ordinal).ToArray();
        if (methods.Length == 0)
        {
            return new HttpRefusal(
                StatusCodes.Status404NotFound,
                Protocol.Wire.Reason.NotFound,
                $"There is nothing at {path}. {DocumentPath} names the addresses, {PagePath} shows them.");
        }

        http.Response.Headers.Allow = string.Join(", ", methods);
        return new HttpRefusal(
            StatusCodes.Status405MethodNotAllowed,
            Protocol.Wire.Reason.InvalidRequest,
            $"{path} does not take {http.Request.Method}; it takes {string.Join(", ", methods)}.");
    }
}

/// <summary>What the OpenAPI document says: of each endpoint what its <see cref="HttpOperation"/> says.</summary>
internal static class HttpDocument
{
    private const string Words =
        "JSON over HTTP of a broker; every broker of the cluster serves all of it. The same as by gRPC "
        + "(Protos/broker/v1), with the same rules. Names in addresses are percent-encoded. Numbers of 64 bits are "
        + "numbers, but ids are strings. Every refusal is application/problem+json with a sentence and a reason.";

    public static Task DescribeAsync(
        OpenApiDocument document, OpenApiDocumentTransformerContext context, CancellationToken cancellationToken)
    {
        document.Info = new OpenApiInfo
        {
            Title = "Broker.Aspire",
            Version = typeof(HttpDocument).Assembly.GetName().Version?.ToString(3) ?? "1",
            Description = Words,
        };
        document.Servers = []; // Whichever broker has served the document.
        return Task.CompletedTask;
    }

    public static Task DescribeOperationAsync(
        OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken cancellationToken)
    {
        if (context.Description.ActionDescriptor.EndpointMetadata.OfType<HttpOperation>().FirstOrDefault()
            is not { } known || context.Document is not { } document)
        {
            return Task.CompletedTask;
        }

        operation.OperationId = known.Id;
        operation.Summary = known.Summary;
        operation.Description = known.Description;
        operation.Tags = new HashSet<OpenApiTagReference> { new(known.Tag, document) };
        operation.Parameters = [.. OfAddress(known), .. known.Parameters.Select(static each => (IOpenApiParameter)
            new OpenApiParameter
            {
                Name = each.Name,
                In = each.InHeader ? ParameterLocation.Header : ParameterLocation.Query,
                Description = each.Description,
                Schema = new OpenApiSchema { Type = each.Type },
            })];
        operation.RequestBody = known.Bodies.Count == 0 ? null : new OpenApiRequestBody
        {
            Content = known.Bodies.ToDictionary(
                static body => body.ContentType,
                body => new OpenApiMediaType { Schema = body.Schema(document) }),
        };
        operation.Responses = new OpenApiResponses
        {
            ["200"] = new OpenApiResponse
            {
                Description = "Done.",
                Content = known.Answers.ToDictionary(
                    static answer => answer.ContentType,
                    answer => new OpenApiMediaType { Schema = answer.Schema(document) }),
            },
            ["default"] = new OpenApiResponse
            {
                Description = "Refused: why, and what to do.",
                Content = new Dictionary<string, OpenApiMediaType>
                {
                    [HttpProblem.ContentType] = new() { Schema = HttpSchemas.Problem(document) },
                },
            },
        };
        return Task.CompletedTask;
    }

    private static IEnumerable<IOpenApiParameter> OfAddress(HttpOperation operation) => operation.Pattern.Split('/')
        .Where(static segment => segment.StartsWith('{'))
        .Select(segment => segment[1..segment.IndexOf('}', StringComparison.Ordinal)])
        .Select(name => (IOpenApiParameter)new OpenApiParameter
        {
            Name = name,
            In = ParameterLocation.Path,
            Required = true,
            Description = operation.Request?.FindFieldByName(name) is { } field
                ? ContractWords.Of($"{operation.Request.Name}.{field.Name}")
                : ContractWords.Of(name == "topic" ? "PublishRequest.topic" : "PeekedRecord.offset"),
            Schema = new OpenApiSchema
            {
                Type = operation.Request?.FindFieldByName(name) is { } typed
                    ? HttpSchemas.TypeOf(typed)
                    : name == "offset" ? JsonSchemaType.Integer : JsonSchemaType.String,
            },
        });
}
